// The page's world: a square, x to the right and y down, 0 to 1, of 256 · 2^zoom screen pixels.

export const TILE = 256;

// From the coordinates of GeoJSON to the world: degrees on a map, else pixels of the image.
export function projection(view) {
  if (view.kind === "pixels") {
    const side = TILE * 2 ** view.max_zoom;
    return ([x, y]) => [x / side, y / side];
  }
  return ([lon, lat]) => {
    const sine = Math.sin((lat * Math.PI) / 180);
    return [lon / 360 + 0.5, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
  };
}

// What to tell of a place in the world.
export function placeText(view, [x, y]) {
  if (view.kind === "pixels") {
    const side = TILE * 2 ** view.max_zoom;
    return `x ${Math.floor(x * side)}, y ${Math.floor(y * side)}`;
  }
  const lat = (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
  return `${lat.toFixed(5)}°, ${((x - 0.5) * 360).toFixed(5)}°`;
}

// Where on the world the screen is: centre (x, y) and zoom; width and height in screen pixels.
export class Camera {
  constructor() {
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 0, width: 1, height: 1, closest: 24 });
  }

  get scale() {
    return TILE * 2 ** this.zoom;
  }

  toScreen([x, y]) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  toWorld([x, y]) {
    return [(x - this.width / 2) / this.scale + this.x, (y - this.height / 2) / this.scale + this.y];
  }

  // Left, top, right and bottom of what is seen.
  get bounds() {
    return [...this.toWorld([0, 0]), ...this.toWorld([this.width, this.height])];
  }

  pan(dx, dy) {
    this.x = Math.min(1, Math.max(0, this.x - dx / this.scale));
    this.y = Math.min(1, Math.max(0, this.y - dy / this.scale));
  }

  // Changes the zoom by `steps`; what is at the screen point `at` stays there.
  zoomBy(steps, at = [this.width / 2, this.height / 2]) {
    const before = this.toWorld(at);
    this.zoom = Math.min(this.closest, Math.max(0, this.zoom + steps));
    const after = this.toWorld(at);
    this.x += before[0] - after[0];
    this.y += before[1] - after[1];
  }

  // Shows all of left, top, right, bottom, with a margin.
  fit([left, top, right, bottom]) {
    const share = Math.max((right - left) / this.width, (bottom - top) / this.height, 1e-12);
    this.zoom = Math.min(this.closest, Math.max(0, Math.log2(0.94 / share / TILE)));
    this.x = (left + right) / 2;
    this.y = (top + bottom) / 2;
  }
}
