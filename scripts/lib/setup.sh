# shellcheck shell=bash
# What quickstart, test and the other scripts share: installing packages, fetching models, making Python
# environments, configuring and building. Source it after `set -euo pipefail`; it defines functions and the
# two paths below, and does nothing by itself. Everything it says goes to standard error, so that standard
# output belongs to the program that the script ends in.

KVASIR_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
KVASIR_CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kvasir"

say() { printf '%s\n' "$*" >&2; }

# One sentence, then the end.
fail() {
  say "$(basename "$0"): $*"
  exit 1
}

# run_logged FILE COMMAND...: runs it silently; on failure shows the last lines of what it printed.
run_logged() {
  local log="$1"
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    return 1
  fi
}

# first_known_package A|B|...: the first of these names that apt knows; A when it knows none.
first_known_package() {
  local name
  for name in ${1//|/ }; do
    if apt-cache show "$name" >/dev/null 2>&1; then
      echo "$name"
      return 0
    fi
  done
  echo "${1%%|*}"
}

# install_packages GROUP...: installs what is missing of these groups of scripts/lib/packages, saying what
# and why. With KVASIR_NO_APT=1 it does nothing.
install_packages() {
  [[ "${KVASIR_NO_APT:-}" != 1 ]] || return 0
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    fail "this is not Debian or Ubuntu: install what scripts/lib/packages lists yourself and add --no-apt"
  fi

  local group package reason installed name found
  local -a missing=()
  local -A reasons=()
  # shellcheck disable=SC2016  # the format is dpkg-query's
  installed="$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null)"
  while read -r group package reason; do
    [[ " $* " == *" $group "* ]] || continue
    found=0
    for name in ${package//|/ }; do
      [[ $'\n'"$installed"$'\n' != *$'\n'"installed $name"$'\n'* ]] || found=1
    done
    if ((!found)); then
      missing+=("$package")
      reasons[$package]="$reason"
    fi
  done < <(grep -v '^#' "$KVASIR_ROOT/scripts/lib/packages")
  ((${#missing[@]})) || return 0

  local -a as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      fail "these packages are missing and neither root nor sudo is here to install them: ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${#missing[@]} packages with apt:"
  for package in "${missing[@]}"; do
    say "$(printf '  %-20s %s' "$package" "${reasons[$package]}")"
  done
  local log="$KVASIR_CACHE/log/apt.log"
  # A package list that cannot be refreshed may still do; the installation tells.
  run_logged "$log" "${as_root[@]}" apt-get -q update || true
  local -a names=()
  for package in "${missing[@]}"; do
    names+=("$(first_known_package "$package")")
  done
  run_logged "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${names[@]}" ||
    fail "apt-get could not install the packages above (log: $log)"
}

# make_venv NAME [REQUIREMENTS_FILE]: makes or refreshes the Python environment NAME in the cache and sets
# VENV to its path. Returns 1 when pip fails; quick when nothing has changed.
make_venv() {
  local name="$1" requirements="${2:-/dev/null}"
  VENV="$KVASIR_CACHE/venv/$name"
  local stamp="$VENV/.kvasir_requirements" log="$KVASIR_CACHE/log/venv-$name.log"
  if [[ -x "$VENV/bin/python" ]] && cmp -s "$requirements" "$stamp"; then
    return 0
  fi
  if [[ ! -x "$VENV/bin/pip" ]]; then
    run_logged "$log" python3 -m venv "$VENV" || return 1
  fi
  if [[ -s "$requirements" ]]; then
    say "Installing Python packages into $VENV"
    run_logged "$log" "$VENV/bin/python" -m pip install --quiet -r "$requirements" || return 1
  fi
  cat "$requirements" >"$stamp"
}

# fetch_model NAME: puts the model NAME of scripts/lib/models into the cache and sets MODEL to its path.
# A file of the right size is taken as verified: its hash was checked before it got its name. Returns 1
# when it cannot be had.
fetch_model() {
  local wanted="$1" name file bytes
  while read -r name file bytes _; do
    [[ "$name" != "$wanted" ]] || break
  done < <(grep -v '^#' "$KVASIR_ROOT/scripts/lib/models")
  [[ "$name" == "$wanted" ]] || fail "scripts/lib/models has no model $wanted"
  MODEL="$KVASIR_CACHE/models/$file"
  [[ ! -f "$MODEL" || "$(stat -c %s "$MODEL")" != "$bytes" ]] || return 0

  install_packages model
  say "Fetching $file ($((bytes / 1000000)) MB) into $KVASIR_CACHE/models"
  make_venv pip || return 1
  "$VENV/bin/python" "$KVASIR_ROOT/scripts/lib/fetch_model.py" "$wanted" "$KVASIR_CACHE/models" \
    >&2 </dev/null
}

# is_configured PRESET: true when build/PRESET belongs to this tree and is newer than the presets and the
# list of packages.
is_configured() {
  local build="$KVASIR_ROOT/build/$1"
  [[ -f "$build/build.ninja" && "$build/.configured" -nt "$KVASIR_ROOT/CMakePresets.json" &&
    "$build/.configured" -nt "$KVASIR_ROOT/scripts/lib/packages" ]] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$KVASIR_ROOT" "$build/CMakeCache.txt"
}

# configure PRESET: configures build/PRESET unless that is done.
configure() {
  local build="$KVASIR_ROOT/build/$1"
  ! is_configured "$1" || return 0
  (cd "$KVASIR_ROOT" && run_logged "$build/configure.log" cmake --fresh --preset "$1") ||
    fail "CMake could not configure the preset $1 (log: $build/configure.log)"
  touch "$build/.configured"
}

# build PRESET [TARGET...]: builds in build/PRESET; silent when nothing is to do.
build() {
  local directory="$KVASIR_ROOT/build/$1"
  shift
  # A dry run cannot tell whether there is work, because CMake's glob check is always pending; so the lines
  # that say nothing are dropped instead.
  ninja -C "$directory" -j "$(nproc)" "$@" </dev/null |
    sed -u -e '/: Entering directory /d' -e '/ Re-checking globbed /d' -e '/: no work to do/d' >&2 ||
    fail "the build failed; the compiler's messages are above"
}
