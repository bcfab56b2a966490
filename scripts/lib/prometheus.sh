# Sourced after setup.sh: unpacks Debian's prometheus and alertmanager under .venv, once, for the tests of monitoring/.
# Unpacked and not installed: that needs no root, starts no service, and leaves nothing behind when .venv goes.

fetch_prometheus() {
  local to="$VENV/prometheus" work package
  if { command -v prometheus && command -v promtool && command -v amtool; } >/dev/null || [ -x "$to/usr/bin/promtool" ]; then return; fi
  work=$(mktemp -d "$VENV/prometheus.XXXXXX")
  if (download_packages "$work" prometheus prometheus-alertmanager) >"$work/log" 2>&1; then
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    mv "$work/root" "$to"
  else
    printf 'warning: the tests that need a real Prometheus are left out, because Debian'\''s packages cannot be had here: install prometheus and prometheus-alertmanager to run them\n' >&2
  fi
  rm -rf "$work"
}

download_packages() {
  local folder=$1; shift
  command -v apt-get && command -v dpkg-deb || return
  cd "$folder" || return
  timeout 120 apt-get download "$@" && return
  [ "$(id -u)" = 0 ] && timeout 120 apt-get update && timeout 120 apt-get download "$@"   # a new machine has no lists
}
