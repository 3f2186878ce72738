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

# need_root COMMAND...: ends the script when neither root nor sudo is there to run it.
need_root() {
    [[ $(id -u) == 0 ]] || command -v sudo >/dev/null ||
        die "this needs root, and there is no sudo: $*" "run it as root, then run this again"
}

# as_root COMMAND...: runs it as it is for root, through sudo for others.
as_root() {
    need_root "$@"
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        sudo "$@"
    fi
}

# quietly COMMAND...: runs it. What it says comes with a failure.
quietly() {
    local log code=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || code=$?
    ((code == 0)) || cat "$log" >&2
    rm -f "$log"
    return "$code"
}

# While this file is there, no service is started, as Debian's policy has it.
policy_file=/usr/sbin/policy-rc.d

# Runs in a shell of its own, so that what it leaves behind goes with it, however it ends. Tests and benches start servers
# of their own, on ports of their own, and nobody asked for a web server on this machine. A policy that is there already
# is the administrator's, unless it is one that a killed run has left.
apt_install_here() (
    mark='# Of the scripts of wharf, while they install'
    if [[ ! -e $policy_file ]] || grep -qsF "$mark" "$policy_file"; then
        trap 'as_root rm -f "$policy_file"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        printf '#!/bin/sh\n%s\nexit 101\n' "$mark" | as_root install -m 755 /dev/stdin "$policy_file" || exit
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends --no-remove "$@"
)

# apt_update: fetches the lists of packages.
apt_update() {
    quietly as_root apt-get update -q || die "apt-get could not update its lists of packages" "what apt says is above"
}

# apt_install PACKAGE...: installs them from the lists that are there, and removes nothing for it.
apt_install() {
    quietly apt_install_here "$@" ||
        die "apt-get could not install $*" "what apt says is above; nothing that was installed has been removed"
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
    need_root apt-get install "${missing[@]}"
    apt_update
    apt_install "${missing[@]}"
}

# need_cargo: finds cargo, also where rustup put it but no shell has read its settings yet.
need_cargo() {
    local home="${CARGO_HOME:-$HOME/.cargo}"
    command -v cargo >/dev/null || PATH="$home/bin:$PATH"
    command -v cargo >/dev/null || die "there is no cargo" "install Rust 1.90 or newer"
}

# need_components: the parts of the toolchain that only lints need; not every installation of Rust has them.
need_components() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    ((${#missing[@]})) || return 0
    command -v rustup >/dev/null ||
        die "the Rust toolchain lacks ${missing[*]}" "rustup and Debian have them as packages of their own"
    step install "${missing[*]}"
    rustup component add "${missing[@]}" >&2 || die "rustup could not add ${missing[*]}"
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

# apt_apart FOLDER ARCHITECTURE: has `apt_options` make apt-get keep its lists and its cache in the folder, so that the machine's stay as they
# are, and take a system of that architecture without packages for granted. Sources, mirrors and keys are the machine's.
apt_apart() {
    mkdir -p "$1"/{lists/partial,cache/archives/partial,packages}
    : >"$1/status"
    # shellcheck disable=SC2034 # for the caller
    apt_options=(
        -o "APT::Architecture=$2" -o "APT::Architectures::=$2" -o APT::Sandbox::User= -o "Dir::State::Lists=$1/lists"
        -o "Dir::State::status=$1/status" -o "Dir::Cache=$1/cache" -o Acquire::Languages=none
    )
}

# fetch_busybox ARCHITECTURE FOLDER: has FOLDER/busybox be a static busybox for an architecture, as the distribution names it; it is not installed.
# Distributions that keep the architecture apart from what this machine's lists name do not offer it; then FOLDER/not-offered is there, and it is
# not asked for again. Where the lists could not be had, nothing is known, and the next run asks.
fetch_busybox() {
    local folder=$2 here is_answered=
    [[ ! -e $folder/busybox && ! -e $folder/not-offered ]] || return 0
    step fetch "busybox for $1"
    mkdir -p "$folder"
    here=$(mktemp -d)
    apt_apart "$here" "$1"
    # One of several sources may have nothing for it, and says so: that is an answer, other than that of a network which fails.
    if apt-get -qq "${apt_options[@]}" -o APT::Update::Error-Mode=any update >"$here/log" 2>&1 ||
        { grep -q 'Failed to fetch.* 404 ' "$here/log" && ! grep 'Failed to fetch' "$here/log" | grep -qv ' 404 '; }; then
        is_answered=1
    fi
    if (cd "$here/packages" && apt-get -qq "${apt_options[@]}" download "busybox-static:$1" 2>/dev/null) &&
        dpkg-deb --extract "$here"/packages/*.deb "$here/unpacked"; then
        # /bin and /usr/bin are one in newer releases.
        find "$here/unpacked" -path '*bin/busybox' -type f -exec install -m 755 {} "$folder/busybox" \;
    fi
    if [[ ! -e $folder/busybox ]]; then
        if [[ -n $is_answered ]] && ! apt-cache "${apt_options[@]}" show "busybox-static:$1" >/dev/null 2>&1; then
            step fetch "no busybox for $1 is offered here; what needs it does without"
            : >"$folder/not-offered"
        else
            step fetch "busybox for $1 could not be had; what needs it does without this time"
        fi
    fi
    rm -rf "$here"
}
