// The map with its images, and the object that is chosen on it.

import { SlippyMap } from "./map.js";
import { css, ObjectLayer } from "./objects.js";
import { page } from "./page.js";
import { element, showObject } from "./panel.js";
import { TileLayer } from "./tiles.js";
import { placeText } from "./world.js";

export const map = new SlippyMap(document.querySelector("canvas"), {
  click: (world, reach) => select(objectLayers().map((l) => l.at(world, reach)).find(Boolean)),
  move: (world) => {
    const raster = page.chosen[0];
    element("where").textContent = raster ? placeText(raster.view, world) : "";
  },
  key: (key) => {
    const steps = { n: 1, p: -1 };
    if (key === "Escape") select(null);
    else if (steps[key]) step(steps[key]);
    return key === "Escape" || key in steps;
  },
});

function objectLayers() {
  return map.layers.filter((layer) => layer instanceof ObjectLayer);
}

function select(object) {
  for (const layer of objectLayers()) {
    layer.selected = object && layer.objects.includes(object) ? object : null;
    if (layer.selected) {
      showObject(object, css(layer.palette[object.classId]));
      map.reveal(object.bounds);
    }
  }
  if (!object) showObject(null);
  map.redraw();
}

function step(by) {
  const layers = objectLayers();
  const current = layers.filter((layer) => layer.selected);
  const found = [...current, ...layers].map((layer) => layer.next(by));
  select(found.find(Boolean));
}

// The image, or both dates of it with the line between them that can be moved.
export function showImages() {
  const [before, after] = page.chosen;
  element("empty").hidden = Boolean(before ?? after);
  page.images = [before, after].filter(Boolean).map((raster) => {
    const address = (z, x, y) => `/tiles/${raster.id}/${z}/${x}/${y}.png`;
    return new TileLayer(raster.view, address, () => map.redraw());
  });
  map.layers = page.images;
  const both = before && after;
  element("swipe").hidden = !both;
  if (both) {
    const share = element("swipe").querySelector("input");
    page.images[1].clip = ({ width, height }) => {
      const x = (share.valueAsNumber / 100) * width;
      return [x, 0, width - x, height];
    };
  }
  select(null);
  if (before ?? after) map.show((before ?? after).view);
  map.redraw();
}
