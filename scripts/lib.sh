# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

# step WORD TEXT...: one line of output, in two columns.
step() {
    printf '%-8s' "$1"
    shift
    printf '%s\n' "$*"
}

# die TEXT [HINT]: ends the script with an error.
die() {
    printf 'error: %s\n' "$1" >&2
    [[ -z ${2-} ]] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# as_root COMMAND...: runs it as it is for root, through sudo for others.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*" "run it as root, then run this again"
    fi
}

# need COMMAND=PACKAGE...: installs the packages whose command is missing.
need() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "missing: ${missing[*]}" "install them with the package manager of this system"
    step install "${missing[*]}"
    local log
    log=$(mktemp)
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        die "apt-get could not install ${missing[*]}"
    fi
    rm -f "$log"
}

# need_cargo: finds cargo, also where rustup put it but no shell has read its settings yet.
need_cargo() {
    local home="${CARGO_HOME:-$HOME/.cargo}"
    command -v cargo >/dev/null || PATH="$home/bin:$PATH"
    command -v cargo >/dev/null || die "there is no cargo" "install Rust 1.90 or newer"
}

# build PACKAGE...: in the release profile. A terminal shows in one line how far it is; what cargo says comes with a failure.
build() {
    local log line failed=
    log=$(mktemp)
    cargo build --release --manifest-path "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml" "${@/#/--package=}" 2>&1 |
        tee "$log" |
        while read -r line; do
            [[ ! -t 2 ]] || printf '\r\033[K%-8s%.70s' build "$line" >&2
        done || failed=1
    [[ ! -t 2 ]] || printf '\r\033[K' >&2
    [[ -z $failed ]] || cat "$log" >&2
    rm -f "$log"
    [[ -z $failed ]] || die "the build failed"
}
