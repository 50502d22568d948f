// Shapes of usual size to start from, in millimetres about their middle: x to the picture's right, y down. docs/setup.md
// says where the sizes come from. Nobody's anatomy is usual: each is laid on the picture to be moved and shaped.

import { ellipse } from "./setup_geometry.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {{id: string, kind: string, points_mm: Point[], line?: {side: import("./setup_geometry.js").Side, near_mm: number, far_mm: number}}} TemplateZone */
/** @typedef {{name: string, view: "ap" | "lateral", zones: TemplateZone[]}} Template */

const FORAMEN_CORNERS = 12;
const S1_MM = /** @type {[number, number]} */ ([12.2, 13.0]);
const S2_MM = /** @type {[number, number]} */ ([13.1, 12.9]);

/** @param {string} id @param {Point} centre_mm @param {[number, number]} size_mm @returns {TemplateZone} */
const foramen = (id, centre_mm, [wide, high]) => ({
  id,
  kind: "forbidden",
  points_mm: ellipse(centre_mm, wide / 2, high / 2, FORAMEN_CORNERS),
});

/**
 * All four anterior openings; `side`: of the picture on which the patient's left is, -1 for its left.
 * @param {number} side
 */
const foramina = (side) => [
  foramen("foramen_S1L", [side * 27, -12], S1_MM),
  foramen("foramen_S1R", [side * -27, -12], S1_MM),
  foramen("foramen_S2L", [side * 24, 12], S2_MM),
  foramen("foramen_S2R", [side * -24, 12], S2_MM),
];

/** @type {Template[]} */
export const TEMPLATES = [
  // Prone, as in sacroplasty, seen from the back: the patient's left is on the picture's left.
  { name: "S1, S2 foramina, prone", view: "ap", zones: foramina(-1) },
  { name: "S1, S2 foramina, supine", view: "ap", zones: foramina(1) },
  { name: "S1 foramen", view: "ap", zones: [foramen("foramen_S1", [0, 0], S1_MM)] },
  { name: "S2 foramen", view: "ap", zones: [foramen("foramen_S2", [0, 0], S2_MM)] },
  {
    name: "Sacral canal",
    view: "ap",
    zones: [
      {
        id: "canal",
        kind: "caution",
        points_mm: [
          [-14.5, -28],
          [14.5, -28],
          [12, 0],
          [9, 28],
          [-9, 28],
          [-12, 0],
        ],
      },
    ],
  },
  {
    name: "Sacral body S1",
    view: "ap",
    zones: [
      {
        id: "target_S1",
        kind: "target",
        points_mm: [
          [-25, -14],
          [25, -14],
          [19, 14],
          [-19, 14],
        ],
      },
    ],
  },
  {
    name: "Sacral body S1",
    view: "lateral",
    zones: [
      {
        id: "body_S1",
        kind: "body",
        points_mm: [
          [-16.5, -15],
          [16.5, -15],
          [12, 15],
          [-12, 15],
        ],
      },
    ],
  },
  {
    name: "Sacral canal",
    view: "lateral",
    zones: [
      {
        id: "canal",
        kind: "forbidden",
        points_mm: [
          [-7, -30],
          [7, -30],
          [6, 0],
          [4.5, 30],
          [-4.5, 30],
          [-6, 0],
        ],
      },
    ],
  },
  {
    name: "Anterior cortex",
    view: "lateral",
    zones: [
      {
        id: "anterior",
        kind: "forbidden",
        points_mm: [
          [0, -30],
          [2, -10],
          [2, 10],
          [-2, 30],
        ],
        line: { side: "right", near_mm: 1.5, far_mm: 20 },
      },
    ],
  },
];
