// The beginning, and what follows from what the user does.

import { ask } from "./api.js";
import { loadChoices, send, take, update } from "./form.js";
import { loadJobs, openJob, start } from "./jobs.js";
import { attempt, leaveJob, page } from "./page.js";
import { element, options, problem, showJob } from "./panel.js";
import { map, showImages } from "./scene.js";

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
  element("have").addEventListener("change", ({ target }) => attempt(() => take(target.value)));
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
