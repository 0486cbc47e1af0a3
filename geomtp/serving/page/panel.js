// Parts of the panel that only show what they are given.

const WORDS = {
  queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled",
};

export const element = (id) => document.getElementById(id);

// A message of what went wrong, until it is closed or the next thing is begun.
export function problem(error) {
  const box = element("problem");
  box.hidden = !error;
  box.querySelector("p").textContent = error ? error.message : "";
  if (error) box.scrollIntoView({ block: "nearest" });
}

export function options(select, first, names, value = (name) => name, text = value) {
  const chosen = select.value;
  const made = names.map((name) => new Option(text(name), value(name)));
  select.replaceChildren(...(first === null ? [] : [new Option(first, "")]), ...made);
  if (made.some((option) => option.value === chosen)) select.value = chosen;
}

export function showJob(job) {
  element("job").hidden = false;
  const open = job.state === "queued" || job.state === "running";
  const progress = element("job-progress");
  progress.hidden = !open;
  element("cancel").hidden = !open;
  if (job.windows) Object.assign(progress, { max: job.windows[1], value: job.windows[0] });
  else progress.removeAttribute("value");
  element("job-says").textContent = jobText(job);
  element("job-note").hidden = !job.note;
  element("job-note").textContent = job.note ?? "";
}

function jobText(job) {
  if (job.state === "failed") return `Failed: ${job.error}`;
  if (job.state === "running" && job.windows) {
    return `Running: ${job.windows[0]} of ${job.windows[1]} windows, ${job.says}`;
  }
  if (job.state === "running") return `Running: ${job.says}`;
  return { queued: "Waiting for other jobs", done: "Done", cancelled: "Cancelled" }[job.state];
}

export function showJobs(jobs, nameOf, current, onChoose) {
  const rows = [...jobs].reverse().map((job) => {
    const row = document.createElement("li");
    const button = document.createElement("button");
    const note = document.createElement("span");
    button.type = "button";
    button.textContent = job.rasters.map(nameOf).join(" → ");
    button.setAttribute("aria-current", String(job.id === current));
    note.className = "note";
    note.textContent = `${job.model}, ${WORDS[job.state]}, ${timeText(job.created)}`;
    button.append(note);
    button.addEventListener("click", () => onChoose(job));
    row.append(button);
    return row;
  });
  if (!rows.length) {
    const row = document.createElement("li");
    row.className = "note";
    row.textContent = "None yet.";
    rows.push(row);
  }
  element("jobs").replaceChildren(...rows);
}

function timeText(iso) {
  return new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

export function showFiles(job, files) {
  const rows = files.map((file) => {
    const row = document.createElement("li");
    const link = document.createElement("a");
    const size = document.createElement("span");
    link.href = `/api/jobs/${job.id}/files/${encodeURIComponent(file.name)}`;
    link.download = file.name;
    link.textContent = file.name;
    link.title = file.what;
    size.className = "note";
    size.textContent = sizeText(file.bytes);
    row.append(link, size);
    return row;
  });
  element("files").replaceChildren(...rows);
}

function sizeText(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

// The card of one object; null takes it away.
export function showObject(object, colour) {
  const card = element("object");
  card.hidden = !object;
  if (!object) return;
  const title = document.createElement("h3");
  const swatch = document.createElement("span");
  const list = document.createElement("dl");
  swatch.className = "swatch";
  swatch.style.background = colour;
  title.append(swatch, object.properties.class);
  for (const [name, value] of Object.entries(object.properties)) {
    if (name === "class" || name === "class_id" || value === null) continue;
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    [term.textContent, detail.textContent] = attributeText(name, value);
    list.append(term, detail);
  }
  card.replaceChildren(title, list);
}

// `length_m` with 12.345 becomes "length" with "12.3 m".
function attributeText(name, value) {
  const [, word, unit] = /^(.*?)(?:_(m|m2|px|deg))?$/.exec(name);
  const units = { m: " m", m2: " m²", px: " px", deg: "°" };
  if (word === "score") return [word, value.toFixed(3)];
  const area = word === "area" && unit === "px" ? " px²" : units[unit] ?? "";
  return [word, `${Number(value).toFixed(1)}${area}`];
}
