// Choosing a model and images.

import { ask, upload } from "./api.js";
import { attempt, leaveJob, model, page, slot } from "./page.js";
import { element, options } from "./panel.js";
import { showImages } from "./scene.js";

const FOLDER = "folder:"; // marks choices of the server's folder; the others are ids

function choose(raster) {
  page.known.set(raster.id, raster);
  page.chosen[slot()] = raster;
  leaveJob();
  if (model().dates === 2 && slot() === 0 && !page.chosen[1]) {
    document.forms.order.date.value = "1";
  }
  update();
  showImages();
}

// What can be pressed, and what the parts of the form say.
export function update() {
  const two = model().dates === 2;
  if (!two) page.chosen[1] = null;
  element("dates").hidden = !two;
  element("dates").querySelectorAll("b").forEach((name, index) => {
    name.textContent = page.chosen[index]?.name ?? "(none yet)";
  });
  const names = model().classes;
  const shown = names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : "");
  element("model-facts").textContent = `${model().tasks.join(", ")}: ${shown}`;
  element("start").disabled = !page.chosen.slice(0, model().dates).every(Boolean);
  element("have").value = page.chosen[slot()]?.id ?? "";
}

export async function loadChoices() {
  const [rasters, folder] = await Promise.all([ask("/api/rasters"), ask("/api/folder")]);
  for (const raster of rasters) page.known.set(raster.id, raster);
  const names = [...rasters.map((r) => r.id), ...folder.map((path) => FOLDER + path)];
  const text = (value) => page.known.get(value)?.name ?? value.slice(FOLDER.length);
  options(element("have"), "choose…", names, (value) => value, text);
}

// Takes what was chosen in the list: an image that the server has, or one of its folder.
export async function take(value) {
  if (!value) return;
  if (!value.startsWith(FOLDER)) {
    choose(page.known.get(value));
    return;
  }
  const raster = await ask("/api/rasters/pick", "POST", { path: value.slice(FOLDER.length) });
  await loadChoices();
  choose(raster);
}

export async function send(file) {
  const box = element("uploading");
  const [bar, says] = box.children;
  box.hidden = false;
  await attempt(async () => {
    const most = page.server.max_upload_mb;
    if (file.size > most * 1e6) {
      throw new Error(`${file.name} is larger than ${most} MB, the most that this server takes.`);
    }
    const raster = await upload(file, (share) => {
      bar.value = share;
      const how = share < 1 ? `: ${Math.round(100 * share)} %` : " is made ready…";
      says.textContent = file.name + how;
    });
    await loadChoices();
    choose(raster);
  });
  box.hidden = true;
  element("file").value = "";
}
