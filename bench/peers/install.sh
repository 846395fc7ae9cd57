#!/bin/sh
# Installs the peers that come from package registries: tuspyserver into .work/peers/python, @tus/server into
# bench/peers/node_modules. A missing npm leaves @tus/server missing; the bench prints it so.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
python3 -m venv "$root/.work/peers/python"
"$root/.work/peers/python/bin/pip" install --quiet --requirement "$here/requirements.txt"
if command -v npm >/dev/null; then
  npm ci --prefix "$here" --no-audit --no-fund --ignore-scripts
else
  echo "npm is not installed: @tus/server will be missing from the bench" >&2
fi
