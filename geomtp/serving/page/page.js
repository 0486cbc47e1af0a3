// What the page knows, and what all of its parts need.

import { element, problem } from "./panel.js";

// `chosen` are the images of the form by date, `images` their layers on the map; `job` is the id of
// the job that is shown; a higher `watching` ends the watch of an earlier one.
export const page = {
  server: null, known: new Map(), chosen: [null, null], images: [], job: null, watching: 0,
  away: false,
};

export const model = () => page.server.models.find((m) => m.name === element("model").value);

// Which date is being chosen: 0, or 1 for the later one.
export const slot = () => (model().dates === 2 ? Number(document.forms.order.date.value) : 0);

// Runs what may fail, and shows the reason where it does.
export async function attempt(action) {
  problem(null);
  try {
    return await action();
  } catch (error) {
    problem(error);
    return undefined;
  }
}

// No job is shown any more.
export function leaveJob() {
  page.job = null;
  page.watching += 1;
  element("results").hidden = true;
  element("job").hidden = true;
  history.replaceState(null, "", location.pathname);
}
