# Sourced by the commands in scripts/: makes .venv with the locked dependencies, once, and puts it first on PATH.
#   setup run    what a node needs
#   setup dev    that, and what the tests and linters need

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
LOCK="$ROOT/scripts/requirements.lock"
VENV="${COLLAB_VENV:-$ROOT/.venv}"
export PYTHONSAFEPATH=1   # our kernels/ must not hide the package of that name that transformers imports
unset PYTHONDONTWRITEBYTECODE

fail() { printf 'error: %s\n' "$1" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      printf '%s\n' "$candidate"; return
    fi
  done
  fail 'Python 3.11 or 3.12 is needed: install it (on Debian: apt-get install python3.11 python3.11-venv), or name one with PYTHON=/path/to/python'
}

explain_failure() {
  local log=$1
  if grep -qE "gmp\.h: No such file|cannot find -lgmp" "$log"; then
    fail 'libp2p needs the headers of gmp: install them (Debian, Ubuntu: sudo apt-get install -y libgmp-dev · Fedora: sudo dnf install -y gmp-devel · macOS: brew install gmp) and run this again'
  elif grep -qE "Python\.h: No such file" "$log"; then
    fail "libp2p needs Python's headers: install them (Debian, Ubuntu: sudo apt-get install -y python3.11-dev · Fedora: sudo dnf install -y python3.11-devel) and run this again"
  elif grep -qE "(gcc|cc|clang)['\"]? failed: No such file|unable to execute '[^']*(gcc|cc)'|command '[^']*(gcc|cc)' failed" "$log"; then
    fail 'libp2p needs a C compiler and the headers of gmp: install them (Debian, Ubuntu: sudo apt-get install -y gcc libgmp-dev · Fedora: sudo dnf install -y gcc gmp-devel · macOS: xcode-select --install && brew install gmp) and run this again'
  elif grep -qiE "No space left on device" "$log"; then
    fail "the disk is full: about 3 GB are needed under $VENV"
  fi
  tail -n 5 "$log" >&2
  fail "the dependencies could not be installed; the whole story is in $log"
}

# A program that some tests need, and are skipped without: installed where that can be done, else named in a line.
offer() {
  local program=$1 package=$2 what=$3
  if command -v "$program" >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'Installing %s, for %s …\n' "$package" "$what" >&2
    { apt-get update && apt-get install -y --no-install-recommends "$package"; } >/dev/null 2>&1 && return
  fi
  printf 'note: %s is not here, so %s are skipped (Debian: sudo apt-get install -y %s)\n' "$program" "$what" "$package" >&2
}

setup() {
  local group=$1 extras="" want log
  if [ "$group" = dev ]; then extras="[dev,transformers,datasets,plots]"; fi
  # The codec's library is built again when its sources change, or a compiler comes.
  want="$group $(cat "$LOCK" "$ROOT/pyproject.toml" "$ROOT"/kernels/csrc/* | cksum) $(command -v "${CXX:-c++}" || echo -) $ROOT"
  # What a node needs is part of what the tests need: a venv made for dev serves run as well.
  if [ -x "$VENV/bin/collab-node" ] && { grep -qxF "$want" "$VENV/.collab-setup" 2>/dev/null || { [ "$group" = run ] && grep -qxF "dev${want#run}" "$VENV/.collab-setup" 2>/dev/null; }; }; then
    export PATH="$VENV/bin:$PATH"; return
  fi
  log=$(mktemp "${TMPDIR:-/tmp}/collab-setup.XXXXXX")
  printf 'Setting up %s with the locked dependencies (once, a minute or two) …\n' "$VENV" >&2
  if [ ! -x "$VENV/bin/python" ]; then
    "$(find_python)" -m venv "$VENV" >"$log" 2>&1 || explain_failure "$log"
  fi
  # What is built from source is built by the locked setuptools, and what is never imported need not be compiled to bytecode.
  # An older setup.py (prefetch_generator's) imports what lies beside it, which a safe path forbids.
  local install=(env -u PYTHONSAFEPATH "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile -c "$LOCK")
  "${install[@]}" "setuptools>=77" >"$log" 2>&1 || explain_failure "$log"
  "${install[@]}" --no-build-isolation -e "$ROOT$extras" >>"$log" 2>&1 || explain_failure "$log"
  if ! compgen -G "$ROOT/kernels/native/_codec*.so" >/dev/null; then
    printf 'warning: compression will be slow, because its library could not be built: install a C++ compiler (Debian, Ubuntu: sudo apt-get install -y g++ · Fedora: sudo dnf install -y gcc-c++ · macOS: xcode-select --install) and run this again\n' >&2
  fi
  if [ "$group" = dev ]; then offer chromium chromium "the dashboard's tests in a browser"; fi
  printf '%s\n' "$want" >"$VENV/.collab-setup"
  rm -f "$log"
  export PATH="$VENV/bin:$PATH"
}
