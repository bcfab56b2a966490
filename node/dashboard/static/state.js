// The newest state, brought up to date by deltas; see node/dashboard/state.py for their form.

export class State {
  constructor() {
    this.values = {};
    this.tables = {};
    this.updates = 0;
    this.joined = null;
  }

  // Take the whole state; return the names of all its parts.
  whole(data) {
    this.values = {};
    this.tables = {};
    this.joined = null;
    return this.change(data);
  }

  // Take a delta; return the names of the parts that changed.
  change({ values = {}, tables = {} }) {
    this.updates += 1;
    for (const [name, value] of Object.entries(values)) {
      if (value === null) delete this.values[name];
      else this.values[name] = value;
    }
    for (const [name, rows] of Object.entries(tables)) {
      const table = (this.tables[name] ??= new Map());
      for (const [key, row] of Object.entries(rows)) {
        if (row === null) table.delete(key);
        else table.set(key, row);
      }
    }
    if (tables.rounds || tables.held_out) this.joined = null;
    return new Set([...Object.keys(values), ...Object.keys(tables)]);
  }

  value(name) {
    return this.values[name] ?? {};
  }

  table(name) {
    return this.tables[name] ?? new Map();
  }

  // The rounds in order, each with the held-out loss that was measured after it: the same rows until one of these changes.
  rounds() {
    const measured = this.table("held_out");
    this.joined ??= [...this.table("rounds").values()]
      .sort((a, b) => a.round - b.round)
      .map((row) => ({ ...row, held_out: measured.get(String(row.round))?.loss ?? null }));
    return this.joined;
  }
}
