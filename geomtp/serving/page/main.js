// What the user does, and what follows from it.

import { ask, upload } from "./api.js";
import { showLayers } from "./layers.js";
import { SlippyMap } from "./map.js";
import { css, ObjectLayer } from "./objects.js";
import { element, options, problem, showFiles, showJob, showJobs, showObject } from "./panel.js";
import { TileLayer } from "./tiles.js";
import { placeText } from "./world.js";

const LOOK_EVERY_MS = 700;
const FOLDER = "folder:"; // marks choices of the server's folder; the others are ids

const page = { server: null, known: new Map(), chosen: [null, null], images: [], job: null, watching: 0, away: false };

const map = new SlippyMap(document.querySelector("canvas"), {
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

const objectLayers = () => map.layers.filter((layer) => layer instanceof ObjectLayer);
const model = () => page.server.models.find((m) => m.name === element("model").value);
const slot = () => (model().dates === 2 ? Number(document.forms.order.date.value) : 0);

// Runs what may fail, and shows the reason where it does.
async function attempt(action) {
  problem(null);
  try {
    return await action();
  } catch (error) {
    problem(error);
    return undefined;
  }
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
  const layer = layers.find((l) => l.selected) ?? layers[0];
  if (layer) select(layer.next(by));
}

// The image, or both dates of it with the line between them that can be moved.
function showImages() {
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

function leaveJob() {
  page.job = null;
  page.watching += 1;
  element("results").hidden = true;
  element("job").hidden = true;
  history.replaceState(null, "", location.pathname);
}

// What can be pressed, and what the parts of the form say.
function update() {
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

async function loadChoices() {
  const [rasters, folder] = await Promise.all([ask("/api/rasters"), ask("/api/folder")]);
  for (const raster of rasters) page.known.set(raster.id, raster);
  const names = [...rasters.map((r) => r.id), ...folder.map((path) => FOLDER + path)];
  const text = (value) => page.known.get(value)?.name ?? value.slice(FOLDER.length);
  options(element("have"), "choose…", names, (value) => value, text);
}

async function send(file) {
  const box = element("uploading");
  const [bar, says] = box.children;
  box.hidden = false;
  await attempt(async () => {
    const most = page.server.max_upload_mb;
    if (file.size > most * 1e6) throw new Error(`${file.name} is larger than ${most} MB, the most that this server takes.`);
    const raster = await upload(file, (share) => {
      bar.value = share;
      says.textContent = share < 1 ? `${file.name}: ${Math.round(100 * share)} %` : `${file.name} is made ready…`;
    });
    await loadChoices();
    choose(raster);
  });
  box.hidden = true;
  element("file").value = "";
}

async function start() {
  const value = (id) => element(id).value.trim();
  const job = await ask("/api/jobs", "POST", {
    model: model().name,
    rasters: page.chosen.slice(0, model().dates).map((raster) => raster.id),
    score: Number(value("score")),
    gsd: value("gsd") ? Number(value("gsd")) : null,
    bands: value("bands") ? value("bands").split(",").map((band) => band.trim()) : null,
    stretch: element("stretch").checked,
  });
  showImages();
  await watch(job);
}

// Follows a job until it has ended or another is chosen.
async function watch(job) {
  page.job = job.id;
  const turn = ++page.watching;
  let before = null;
  history.replaceState(null, "", `#job=${job.id}`);
  element("results").hidden = true;
  while (turn === page.watching) {
    showJob(job);
    if (job.state !== before) await loadJobs();
    before = job.state;
    if (job.state !== "queued" && job.state !== "running") break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    job = await again(job);
  }
  if (turn === page.watching && job.state === "done") await showResults(job);
}

// What became of a job; the server may be away for a while, its jobs go on when it is back.
async function again(job) {
  try {
    const now = await ask(`/api/jobs/${job.id}`);
    if (page.away) problem(null);
    page.away = false;
    return now;
  } catch (error) {
    if (error.status) throw error;
    page.away = true;
    problem(error);
    return job;
  }
}

async function showResults(job) {
  const results = await ask(`/api/jobs/${job.id}/results`);
  const layers = await showLayers(element("layers"), map, job, page.chosen[0].view, results);
  map.layers = [...page.images, ...layers];
  showFiles(job, results.files);
  element("results").hidden = false;
  element("job").scrollIntoView({ block: "start" });
  map.redraw();
}

async function openJob(job) {
  const rasters = await Promise.all(job.rasters.map((id) => ask(`/api/rasters/${id}`)));
  for (const raster of rasters) page.known.set(raster.id, raster);
  if (page.server.models.some((m) => m.name === job.model)) element("model").value = job.model;
  page.chosen = [rasters[0], rasters[1] ?? null];
  update();
  showImages();
  await watch(job);
}

async function loadJobs() {
  const jobs = await ask("/api/jobs");
  const nameOf = (id) => page.known.get(id)?.name ?? "an image that is gone";
  showJobs(jobs, nameOf, page.job, (job) => attempt(() => openJob(job)));
}

function listen() {
  const drop = element("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
    });
  }
  element("file").addEventListener("change", (event) => {
    if (event.target.files.length) send(event.target.files[0]);
  });
  element("have").addEventListener("change", ({ target }) => attempt(async () => {
    if (!target.value) return;
    if (!target.value.startsWith(FOLDER)) return choose(page.known.get(target.value));
    const path = target.value.slice(FOLDER.length);
    const raster = await ask("/api/rasters/pick", "POST", { path });
    await loadChoices();
    choose(raster);
  }));
  element("model").addEventListener("change", () => {
    leaveJob();
    update();
    showImages();
  });
  element("dates").addEventListener("change", update);
  document.forms.order.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(start);
  });
  element("cancel").addEventListener("click", () => attempt(async () => {
    showJob(await ask(`/api/jobs/${page.job}/cancel`, "POST"));
  }));
  element("problem").querySelector("button").addEventListener("click", () => problem(null));
  element("closer").addEventListener("click", () => map.zoomBy(1));
  element("farther").addEventListener("click", () => map.zoomBy(-1));
  element("whole").addEventListener("click", () => map.fit());
  element("swipe").addEventListener("input", () => map.redraw());
}

async function begin() {
  page.server = await ask("/api/server");
  options(element("model"), null, page.server.models.map((m) => m.name));
  element("bounds").textContent = `· uploads to ${page.server.max_upload_mb} MB, `
    + `${Math.round(page.server.max_pixels / 1e6)} million pixels, jobs to `
    + `${page.server.job_minutes} minutes`;
  await loadChoices();
  update();
  listen();
  await loadJobs();
  const id = /^#job=([0-9a-f]{32})$/.exec(location.hash)?.[1];
  if (id) await openJob(await ask(`/api/jobs/${id}`));
}

attempt(begin);
