// Pointers, wheel and keys made movements of a map.

const STILL_PX = 5;
const KEYS = {
  ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
};

export function listen(canvas, map, on) {
  const down = new Map(); // pointers that are pressed, by id
  let moved = 0;

  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (down.size === 0) moved = 0;
    down.set(event.pointerId, place(event));
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      on.move(map.camera.toWorld(now));
      return;
    }
    if (down.size === 1) {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      map.pan(now[0] - before[0], now[1] - before[1]);
    } else {
      moved = Infinity;
      pinch(map, before, now, [...down].find(([id]) => id !== event.pointerId)[1]);
    }
    down.set(event.pointerId, now);
  });

  canvas.addEventListener("pointerup", (event) => {
    const at = place(event);
    if (down.delete(event.pointerId) && down.size === 0 && moved < STILL_PX) {
      on.click(map.camera.toWorld(at), STILL_PX / map.camera.scale);
    }
  });
  canvas.addEventListener("pointercancel", (event) => down.delete(event.pointerId));

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    map.zoomBy(Math.max(-1, Math.min(1, (-event.deltaY * lines) / 240)), place(event));
  }, { passive: false });

  canvas.addEventListener("dblclick", (event) => map.zoomBy(1, place(event)));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = KEYS[event.key];
    if (way) map.pan(way[0] * map.camera.width / 8, way[1] * map.camera.height / 8);
    else if (event.key === "+" || event.key === "=") map.zoomBy(0.5);
    else if (event.key === "-") map.zoomBy(-0.5);
    else if (event.key === "0") map.fit();
    else if (!on.key(event.key)) return;
    event.preventDefault();
  });
}

// Two fingers: the map follows their middle and the distance between them.
function pinch(map, before, now, other) {
  const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const apart = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const from = middle(before, other);
  const to = middle(now, other);
  map.pan(to[0] - from[0], to[1] - from[1]);
  map.zoomBy(Math.log2(apart(now, other) / apart(before, other)), to);
}
