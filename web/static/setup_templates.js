// Shapes of usual size to start from, in millimetres about their middle: x to the picture's right, y down. docs/setup.md
// says where the sizes come from. Nobody's anatomy is usual: each is laid on the picture to be moved and shaped.

import { ellipse } from "./setup_geometry.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {{id: string, kind: string, points_mm: Point[], line?: {side: import("./setup_geometry.js").Side, near_mm: number, far_mm: number}}} TemplateZone */
/** @typedef {{name: string, view: "ap" | "lateral", zones: TemplateZone[]}} Template */

const FORAMEN_CORNERS = 12;

/** @param {string} id @param {Point} centre_mm @param {[number, number]} size_mm @returns {TemplateZone} */
const foramen = (id, centre_mm, [wide, high]) => ({
  id,
  kind: "forbidden",
  points_mm: ellipse(centre_mm, wide / 2, high / 2, FORAMEN_CORNERS),
});

/** @type {Template[]} */
export const TEMPLATES = [
  {
    name: "S1 and S2 foramina",
    view: "ap",
    // The patient's left is on the right of an AP picture.
    zones: [
      foramen("foramen_S1L", [26, -11], [13.0, 12.2]),
      foramen("foramen_S1R", [-26, -11], [13.0, 12.2]),
      foramen("foramen_S2L", [22.5, 11], [12.9, 13.1]),
      foramen("foramen_S2R", [-22.5, 11], [12.9, 13.1]),
    ],
  },
  { name: "S1 foramen", view: "ap", zones: [foramen("foramen_S1", [0, 0], [13.0, 12.2])] },
  { name: "S2 foramen", view: "ap", zones: [foramen("foramen_S2", [0, 0], [12.9, 13.1])] },
  {
    name: "Sacral canal",
    view: "ap",
    zones: [{ id: "canal", kind: "caution", points_mm: [[-14.5, -28], [14.5, -28], [12, 0], [9, 28], [-9, 28], [-12, 0]] }],
  },
  {
    name: "Sacral body S1",
    view: "ap",
    zones: [{ id: "target_S1", kind: "target", points_mm: [[-25, -14], [25, -14], [19, 14], [-19, 14]] }],
  },
  {
    name: "Sacral body S1",
    view: "lateral",
    zones: [{ id: "body_S1", kind: "body", points_mm: [[-16.5, -15], [16.5, -15], [12, 15], [-12, 15]] }],
  },
  {
    name: "Sacral canal",
    view: "lateral",
    zones: [{ id: "canal", kind: "forbidden", points_mm: [[-7, -30], [7, -30], [6, 0], [4.5, 30], [-4.5, 30], [-6, 0]] }],
  },
  {
    name: "Anterior cortex",
    view: "lateral",
    zones: [
      {
        id: "anterior",
        kind: "forbidden",
        points_mm: [[0, -30], [2, -10], [2, 10], [-2, 30]],
        line: { side: "right", near_mm: 1.5, far_mm: 20 },
      },
    ],
  },
];
