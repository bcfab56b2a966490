// A table that shows its first rows, and all of them when its button is pressed.

import { byId, element, setText } from "./dom.js";

const SHOWN = 10;

// Put `table` (of dataTable) into the element `id`, whose button is `${id}-more`; return what shows rows. `none` stands there
// without any; `less(shown)` and `all(rows)` are the button's words.
export function folding(id, table, { none, less, all }) {
  let open = false;
  let last = [];
  const nothing = element("p", { class: "muted" }, none);
  byId(id).append(table.table, nothing);
  const more = byId(`${id}-more`);
  more.addEventListener("click", () => {
    open = !open;
    show(last);
  });

  function show(rows) {
    last = rows;
    table.show(open ? rows : rows.slice(0, SHOWN));
    table.table.hidden = !rows.length;
    nothing.hidden = rows.length > 0;
    more.hidden = rows.length <= SHOWN;
    setText(more, open ? less(SHOWN) : all(rows.length));
    more.setAttribute("aria-expanded", String(open));
  }

  return show;
}
