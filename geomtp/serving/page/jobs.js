// Jobs: begun, followed, and what they give.

import { ask } from "./api.js";
import { update } from "./form.js";
import { showLayers } from "./layers.js";
import { attempt, model, page } from "./page.js";
import { element, problem, showFiles, showJob, showJobs } from "./panel.js";
import { map, showImages } from "./scene.js";

const LOOK_EVERY_MS = 700;

export async function start() {
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

export async function openJob(job) {
  const rasters = await Promise.all(job.rasters.map((id) => ask(`/api/rasters/${id}`)));
  for (const raster of rasters) page.known.set(raster.id, raster);
  if (page.server.models.some((m) => m.name === job.model)) element("model").value = job.model;
  page.chosen = [rasters[0], rasters[1] ?? null];
  update();
  showImages();
  await watch(job);
}

export async function loadJobs() {
  const jobs = await ask("/api/jobs");
  const nameOf = (id) => page.known.get(id)?.name ?? "an image that is gone";
  showJobs(jobs, nameOf, page.job, (job) => attempt(() => openJob(job)));
}
