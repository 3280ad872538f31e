/* The viewer of a case page: two linked panes of NiiVue, drawn from the volumes that the page itself holds. */
"use strict";

const root = document.getElementById("viewer");
const settings = JSON.parse(document.getElementById("viewer-settings").textContent);
const VIEWS = { planes: 3, axial: 0, coronal: 1, sagittal: 2, rendering: 4 }; // NiiVue's numbers of slice types
const AXES = { axial: 2, coronal: 1, sagittal: 0 }; // plane -> the axis of NiiVue's volume that it cuts
const images = {}; // name of a volume -> NVImage
const panes = [];
let hounsfield = settings.windows[0];

function say(text) {
  root.querySelector("[role=status]").textContent = text;
}

async function unpacked(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function loadLibrary() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await unpacked("niivue"));
  document.head.append(script); // runs before `append` returns
}

async function loadImages() {
  for (const { name, colours, difference } of settings.volumes) {
    const base64 = document.getElementById(`volume-${name}`)?.textContent;
    if (base64) {
      images[name] = await niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, colormap: colours });
    } else { // the difference of two others, which the page need not hold
      const [from, to] = difference.map((each) => images[each]);
      images[name] = from.clone();
      images[name].img = from.img.map((value, voxel) => Math.abs(value - to.img[voxel]));
      images[name].colormap = colours;
    }
  }
}

/* Makes the greys of a window, which are clear in the rendering below a value of its own. */
function addGreys({ name, range: [low, high], clear }) {
  const [from, to] = [0, 1].map((more) => Math.round((255 * (clear - low)) / (high - low)) + more);
  const grey = [0, from, to, 255];
  niivue.cmapper.addColormap(`HU, ${name}`, { R: grey, G: grey, B: grey, A: [0, 0, 40, 120], I: grey });
}

/* Shows a volume in a pane, in the window of HU or in its own range. */
function show(pane, name) {
  const image = images[name];
  const { range, unit, colours } = settings.volumes.find((volume) => volume.name === name);
  const [low, high] = range ?? hounsfield.range;
  image.colormap = range ? colours : `HU, ${hounsfield.name}`; // which sets a range of its own
  [image.cal_min, image.cal_max] = [low, high];
  pane.shown = name;
  if (pane.viewer.volumes[0] !== image) {
    while (pane.viewer.volumes.length) pane.viewer.removeVolumeByIndex(0);
    pane.viewer.addVolume(image);
  }
  pane.viewer.updateGLVolume();
  pane.scale.textContent = `${low} to ${high} ${unit}`;
  pane.scale.dataset.colours = colours;
}

function setWindow(name) {
  hounsfield = settings.windows.find((each) => each.name === name);
  for (const button of root.querySelectorAll("[data-window]")) {
    button.setAttribute("aria-pressed", String(button.dataset.window === name));
  }
  panes.forEach((pane) => show(pane, pane.shown));
}

function setView(name) {
  panes.forEach(({ viewer }) => viewer.setSliceType(VIEWS[name]));
}

/* Moves the cross-hair of both panes to a place in [0, 1], counted from the left, the back and the feet. */
function moveTo(place) {
  for (const { viewer } of panes) {
    viewer.scene.crosshairPos = [...place];
    viewer.drawScene();
  }
  follow(panes[0]);
}

/* Repeats the place of a pane's cross-hair in the other pane, the sliders, the values and the radiographs. */
function follow(pane) {
  const place = [...pane.viewer.scene.crosshairPos];
  for (const { viewer } of panes) {
    if (place.some((part, axis) => part !== viewer.scene.crosshairPos[axis])) {
      viewer.scene.crosshairPos = [...place];
      viewer.drawScene();
    }
  }
  for (const slider of root.querySelectorAll("input[type=range]")) {
    const count = Number(slider.max);
    slider.value = Math.min(count, 1 + Math.floor((1 - place[AXES[slider.name]]) * count));
    slider.nextElementSibling.textContent = `${slider.value} of ${count}`;
  }
  const ras = [...pane.viewer.frac2mm(place)].slice(0, 3);
  const values = settings.volumes.map(({ name, title, unit }) => {
    return `${title} ${images[name].getValue(...images[name].mm2vox(ras)).toFixed(0)} ${unit}`;
  });
  const words = [["R", "L"], ["A", "P"], ["H", "F"]].map(([more, less], axis) => {
    return `${Math.abs(ras[axis]).toFixed(0)} mm ${ras[axis] < 0 ? less : more}`;
  });
  root.querySelector("output.values").textContent = `${words.join(", ")}: ${values.join("; ")}`;
  markRadiographs([-ras[0], -ras[1], ras[2]]);
}

/* Marks where a point (LPS, mm, the isocentre at the origin) appears in each radiograph. */
function markRadiographs(point) {
  for (const [number, { matrix, shape }] of settings.views.entries()) {
    const [column, row, depth] = matrix.map(([x, y, z, one]) => x * point[0] + y * point[1] + z * point[2] + one);
    const [across, down] = [(column / depth + 0.5) / shape[1], (row / depth + 0.5) / shape[0]];
    for (const film of document.querySelectorAll(`[data-view="${number}"]`)) {
      film.style.setProperty("--across", `${100 * across}%`);
      film.style.setProperty("--down", `${100 * down}%`);
      film.classList.toggle("marked", depth > 0 && across > 0 && across < 1 && down > 0 && down < 1);
    }
  }
}

async function makePane(element) {
  const viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [1, 0.8, 0, 0.6],
    crosshairGap: 12,
    crosshairWidth: 0.5,
    dragAndDropEnabled: false,
    fontColor: [1, 1, 0.2, 1],
    fontMinPx: 15,
    isOrientCube: true,
    isRadiologicalConvention: true, // the patient's left on the picture's right
    loadingText: "",
    logLevel: "error",
    multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
    multiplanarPadPixels: 6,
    multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
    sagittalNoseLeft: true, // the front on the left, as in the radiographs
    show3Dcrosshair: true,
    showAllOrientationMarkers: true,
  });
  await viewer.attachToCanvas(element.querySelector("canvas"));
  viewer.setRenderAzimuthElevation(160, 10); // from the front, a little from the left
  const pane = { viewer, scale: element.querySelector(".scale"), shown: element.querySelector("select").value };
  viewer.onLocationChange = () => panes.length && follow(pane);
  element.querySelector("select").addEventListener("change", (event) => show(pane, event.target.value));
  return pane;
}

function listen() {
  for (const button of root.querySelectorAll("[data-window]")) {
    button.addEventListener("click", () => setWindow(button.dataset.window));
  }
  root.querySelector("select[name=view]").addEventListener("change", (event) => setView(event.target.value));
  for (const slider of root.querySelectorAll("input[type=range]")) {
    slider.addEventListener("input", () => {
      const place = [...panes[0].viewer.scene.crosshairPos];
      place[AXES[slider.name]] = 1 - (slider.value - 0.5) / slider.max;
      moveTo(place);
    });
  }
}

async function start() {
  if (!document.createElement("canvas").getContext("webgl2") || !("DecompressionStream" in window)) {
    root.dataset.state = "unsupported";
    return say("This browser has no WebGL2, which the viewer needs. The planes below show the same volumes.");
  }
  await loadLibrary();
  settings.windows.forEach(addGreys);
  await loadImages();
  root.dataset.state = "ready"; // shows the canvases, which take their size from the page
  for (const element of root.querySelectorAll(".pane")) panes.push(await makePane(element));
  panes[0].viewer.broadcastTo(panes[1].viewer, { "3d": true });
  panes[1].viewer.broadcastTo(panes[0].viewer, { "3d": true });
  setWindow(settings.windows[0].name);
  setView("planes");
  moveTo([0.5, 0.5, 0.5]);
  listen();
  say("");
  root.dispatchEvent(new Event("ready"));
}

start().catch((error) => {
  root.dataset.state = "unsupported";
  say(`The viewer did not start (${error.message}). The planes below show the same volumes.`);
});
