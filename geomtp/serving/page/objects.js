// A layer of objects: outlines with class and score, drawn, filtered and found by a click.

import { projection } from "./world.js";

export class ObjectLayer {
  constructor(view, geojson, palette) {
    this.palette = palette;
    this.shownClasses = new Set(palette.keys());
    this.leastScore = 0;
    this.selected = null;
    const toWorld = projection(view);
    this.objects = geojson.features.map((feature) => objectOf(feature, toWorld));
    this.total = geojson.total;
  }

  isShown(object) {
    return object.score >= this.leastScore && this.shownClasses.has(object.classId);
  }

  // How many objects of each class have the score, whether the class is shown or not.
  counts() {
    const counts = this.palette.map(() => 0);
    for (const object of this.objects) {
      if (object.score >= this.leastScore) counts[object.classId] += 1;
    }
    return counts;
  }

  draw(context, camera) {
    const seen = camera.bounds;
    context.save();
    context.lineJoin = "round";
    for (let i = this.objects.length - 1; i >= 0; i--) { // the surest on top
      const object = this.objects[i];
      if (object === this.selected || !this.isShown(object) || !meets(object.bounds, seen)) continue;
      trace(context, camera, object);
      context.lineWidth = 2;
      context.strokeStyle = css(this.palette[object.classId]);
      context.stroke();
    }
    if (this.selected && this.isShown(this.selected)) {
      trace(context, camera, this.selected);
      context.fillStyle = css(this.palette[this.selected.classId], 0.35);
      context.fill("evenodd");
      for (const [width, colour] of [[6, "#000"], [3, "#fff"]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.stroke();
      }
    }
    context.restore();
  }

  // The smallest shown object at a place of the world; `reach` is how far beside it counts.
  at([x, y], reach) {
    const near = this.objects.filter((object) => {
      const [left, top, right, bottom] = object.bounds;
      return this.isShown(object) && x >= left - reach && x <= right + reach
        && y >= top - reach && y <= bottom + reach
        && (inside(object.rings, x, y) || Math.max(right - left, bottom - top) < 4 * reach);
    });
    return near.sort((a, b) => a.area - b.area)[0] ?? null;
  }

  // The shown object after (or before) the selected one, by falling score.
  next(step) {
    const shown = this.objects.filter((object) => this.isShown(object));
    if (!shown.length) return null;
    const index = shown.indexOf(this.selected);
    if (index < 0) return shown[step > 0 ? 0 : shown.length - 1];
    return shown[(index + step + shown.length) % shown.length];
  }
}

export function css([red, green, blue], alpha = 1) {
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

function objectOf(feature, toWorld) {
  const { type, coordinates } = feature.geometry;
  const polygons = type === "Polygon" ? [coordinates] : coordinates;
  const rings = polygons.flat().map((ring) => ring.map(toWorld));
  const xs = rings.flat().map((point) => point[0]);
  const ys = rings.flat().map((point) => point[1]);
  const bounds = [least(xs), least(ys), -least(xs.map((x) => -x)), -least(ys.map((y) => -y))];
  return {
    rings,
    bounds,
    area: (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]),
    classId: feature.properties.class_id,
    score: feature.properties.score,
    properties: feature.properties,
  };
}

function least(numbers) {
  return numbers.reduce((a, b) => Math.min(a, b), Infinity);
}

function meets(a, b) {
  return a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];
}

function trace(context, camera, object) {
  context.beginPath();
  for (const ring of object.rings) {
    ring.forEach((point, index) => {
      const [x, y] = camera.toScreen(point);
      if (index) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
  }
}

// Whether a ray from the point to the right crosses the rings an odd number of times.
function inside(rings, x, y) {
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [[x1, y1], [x2, y2]] = [ring[i], ring[j]];
      if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
    }
  }
  return odd;
}
