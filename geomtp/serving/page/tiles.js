// A layer of tiles. Coarser tiles stand in for those that have not come yet.

import { TILE } from "./world.js";

const MOST_KEPT = 400;

export class TileLayer {
  // `address(z, x, y)` of a tile; `changed()` is called when one has come.
  constructor(view, address, changed) {
    Object.assign(this, { view, address, changed, opacity: 1, clip: null });
    this.tiles = new Map();
  }

  // Another address: all tiles are asked for anew.
  reload(address) {
    this.address = address;
    this.tiles.clear();
    this.changed();
  }

  draw(context, camera) {
    const finest = this.view.max_zoom;
    const sharp = camera.zoom + Math.log2(window.devicePixelRatio || 1);
    const z = Math.min(finest, Math.max(0, Math.round(sharp)));
    const count = 2 ** z;
    const [left, top, right, bottom] = overlap(camera.bounds, this.view.bounds);
    if (left >= right || top >= bottom) return;
    context.save();
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = sharp < finest + 1; // beyond, pixels may be seen as such
    if (this.clip) {
      context.beginPath();
      context.rect(...this.clip(camera));
      context.clip();
    }
    for (let y = Math.floor(top * count); y < Math.ceil(bottom * count); y++) {
      for (let x = Math.floor(left * count); x < Math.ceil(right * count); x++) {
        this.drawTile(context, camera, z, x, y);
      }
    }
    context.restore();
    this.forgetOld();
  }

  drawTile(context, camera, z, x, y) {
    const [screenX, screenY] = camera.toScreen([x / 2 ** z, y / 2 ** z]).map(Math.round);
    const [endX, endY] = camera.toScreen([(x + 1) / 2 ** z, (y + 1) / 2 ** z]).map(Math.round);
    this.wanted(z, x, y);
    for (let up = 0; up <= z; up++) {
      const tile = this.tiles.get(`${z - up}/${x >> up}/${y >> up}`);
      if (!tile?.ready) continue;
      const part = TILE / 2 ** up;
      const fromX = (x - ((x >> up) << up)) * part;
      const fromY = (y - ((y >> up) << up)) * part;
      context.drawImage(
        tile.image, fromX, fromY, part, part, screenX, screenY, endX - screenX, endY - screenY,
      );
      return;
    }
  }

  wanted(z, x, y) {
    const key = `${z}/${x}/${y}`;
    let tile = this.tiles.get(key);
    if (tile) {
      this.tiles.delete(key); // the latest used is the last
    } else {
      tile = { image: new Image(), ready: false, ended: false };
      tile.image.onload = tile.image.onerror = ({ type }) => {
        tile.ready = type === "load";
        tile.ended = true;
        this.changed();
      };
      tile.image.src = this.address(z, x, y);
    }
    this.tiles.set(key, tile);
  }

  // Whether tiles have not come yet.
  get waits() {
    return [...this.tiles.values()].some((tile) => !tile.ended);
  }

  forgetOld() {
    for (const key of this.tiles.keys()) {
      if (this.tiles.size <= MOST_KEPT) return;
      this.tiles.delete(key);
    }
  }
}

function overlap(a, b) {
  return [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
}
