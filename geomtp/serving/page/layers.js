// The panel of layers: classes to show or hide, opacity of maps, least score of objects.

import { ask } from "./api.js";
import { css, ObjectLayer } from "./objects.js";
import { TileLayer } from "./tiles.js";

const TITLES = {
  semantic: "Land cover",
  change: "Change",
  rotated: "Objects",
  instance: "Objects with outlines",
  horizontal: "Objects in upright boxes",
};

// Puts the layers of a job on the map and their controls into `panel`; gives them back.
export async function showLayers(panel, map, job, view, results) {
  panel.replaceChildren();
  const shown = [];
  for (const layer of results.layers) {
    const make = layer.kind === "map" ? mapLayer : objectLayer;
    const { drawn, controls } = await make(map, job, view, layer, results.summary[layer.task]);
    shown.push(drawn);
    panel.append(controls);
  }
  const { scene_scores: scores } = results.summary;
  if (scores) panel.append(sceneScores(scores));
  return shown;
}

async function mapLayer(map, job, view, layer, figures) {
  const shown = new Set(layer.classes.keys());
  const address = (z, x, y) => {
    const values = [...shown].map((id) => id + 1).join(",");
    return `/tiles/jobs/${job.id}/${layer.task}/${z}/${x}/${y}.png?values=${values}`;
  };
  const drawn = new TileLayer(view, address, () => map.redraw());
  drawn.opacity = 0.6;
  const controls = group(layer);
  layer.classes.forEach((name, id) => {
    const { row, box, note } = classRow(name, layer.palette[id]);
    note.textContent = shareText(figures.classes, name);
    box.addEventListener("change", () => {
      if (box.checked) shown.add(id);
      else shown.delete(id);
      drawn.reload(address);
    });
    controls.append(row);
  });
  controls.append(slider("Opacity", 0.6, (value) => {
    drawn.opacity = value;
    map.redraw();
  }));
  return { drawn, controls };
}

async function objectLayer(map, job, view, layer) {
  const geojson = await ask(`/api/jobs/${job.id}/objects/${layer.task}`);
  const drawn = new ObjectLayer(view, geojson, layer.palette);
  const controls = group(layer);
  const notes = [];
  layer.classes.forEach((name, id) => {
    const { row, box, note } = classRow(name, layer.palette[id]);
    notes.push(note);
    box.addEventListener("change", () => {
      if (box.checked) drawn.shownClasses.add(id);
      else drawn.shownClasses.delete(id);
      map.redraw();
    });
    controls.append(row);
  });
  const count = () => drawn.counts().forEach((n, id) => {
    notes[id].textContent = n.toLocaleString("en");
  });
  drawn.leastScore = job.settings.score;
  controls.append(slider("Score from", drawn.leastScore, (value) => {
    drawn.leastScore = value;
    count();
    map.redraw();
  }));
  count();
  if (drawn.total > drawn.objects.length) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = `The ${drawn.objects.length.toLocaleString("en")} surest of `
      + `${drawn.total.toLocaleString("en")} are drawn; the files hold all.`;
    controls.append(note);
  }
  return { drawn, controls };
}

function group(layer) {
  const fieldset = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = TITLES[layer.task] ?? layer.task;
  fieldset.dataset.task = layer.task;
  fieldset.append(legend);
  return fieldset;
}

function classRow(name, colour) {
  const row = document.createElement("label");
  const box = document.createElement("input");
  const swatch = document.createElement("span");
  const text = document.createElement("span");
  const note = document.createElement("span");
  row.className = "class";
  Object.assign(box, { type: "checkbox", checked: true });
  swatch.className = "swatch";
  swatch.style.background = css(colour);
  text.textContent = name;
  row.append(box, swatch, text, note);
  return { row, box, note };
}

// A slider from 0 to 1 that tells of its value while it is moved.
function slider(title, value, onInput) {
  const row = document.createElement("label");
  const text = document.createElement("span");
  const input = document.createElement("input");
  const output = document.createElement("output");
  row.className = "slider";
  text.textContent = title;
  Object.assign(input, { type: "range", min: 0, max: 1, step: 0.01 });
  input.value = value;
  output.textContent = value.toFixed(2);
  input.addEventListener("input", () => {
    output.textContent = input.valueAsNumber.toFixed(2);
    onInput(input.valueAsNumber);
  });
  row.append(text, input, output);
  return row;
}

// How much of the map a class takes, on the ground where that is known.
function shareText(classes, name) {
  const figures = classes[name];
  const all = Object.values(classes).reduce((sum, other) => sum + other.pixels, 0);
  const percent = `${((100 * figures.pixels) / Math.max(all, 1)).toFixed(1)} %`;
  if (figures.area_m2 === undefined) return percent;
  const hectares = figures.area_m2 / 1e4;
  const size = hectares < 1 ? `${figures.area_m2.toFixed(0)} m²` : `${hectares.toFixed(1)} ha`;
  return `${size}, ${percent}`;
}

// What a classifier of whole images says, the likeliest first.
function sceneScores(scores) {
  const list = document.createElement("ul");
  const ordered = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  for (const [name, score] of ordered.slice(0, 10)) {
    const row = document.createElement("li");
    row.textContent = `${name}: ${(100 * score).toFixed(1)} %`;
    list.append(row);
  }
  return list;
}
