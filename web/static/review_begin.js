// What a case's page asks for before all else, while its other scripts are still coming.

import * as server from "./review_server.js";

export const id = decodeURIComponent(location.hash.slice(1).split("@")[0]);

/** How things look, the case, and its frames' times. */
export const begun = Promise.all([
  server.look(),
  id === "" ? Promise.reject(new Error("No case is named in the address: choose one of the list.")) : server.openCase(id),
  id === "" ? new Float64Array() : server.times(id),
]);
// Whoever waits for it hears of it.
begun.catch(() => {});
