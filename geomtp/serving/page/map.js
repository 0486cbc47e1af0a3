// The map: a canvas, a camera, and layers that draw themselves, in order.

import { Camera } from "./world.js";
import { listen } from "./gestures.js";

export class SlippyMap {
  // `on.click(world, reach)`, `on.key(key)` and `on.move(world)` are told of what the user does.
  constructor(canvas, on) {
    this.canvas = canvas;
    this.camera = new Camera();
    this.layers = [];
    this.whole = [0, 0, 1, 1];
    this.drawing = false;
    this.fitted = false;
    listen(canvas, this, on);
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    Object.assign(this.camera, { width, height });
    if (this.fitted) this.fit();
    this.redraw();
  }

  // Shows `view` from now on, all of it at first.
  show(view) {
    this.whole = view.bounds;
    this.camera.closest = view.max_zoom + 5;
    this.fit();
  }

  fit() {
    this.camera.fit(this.whole);
    this.fitted = true; // until the user moves it, it stays so
    this.redraw();
  }

  pan(dx, dy) {
    this.fitted = false;
    this.camera.pan(dx, dy);
    this.redraw();
  }

  zoomBy(steps, at) {
    this.fitted = false;
    this.camera.zoomBy(steps, at);
    this.redraw();
  }

  // Moves as little as is needed to see left, top, right, bottom.
  reveal([left, top, right, bottom]) {
    const [seenLeft, seenTop, seenRight, seenBottom] = this.camera.bounds;
    if (left < seenLeft || right > seenRight || top < seenTop || bottom > seenBottom) {
      this.camera.x = (left + right) / 2;
      this.camera.y = (top + bottom) / 2;
      this.fitted = false;
    }
    this.redraw();
  }

  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const ratio = window.devicePixelRatio || 1;
      const context = this.canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, this.camera.width, this.camera.height);
      for (const layer of this.layers) layer.draw(context, this.camera);
      this.canvas.ariaBusy = String(this.layers.some((layer) => layer.waits));
    });
  }
}
