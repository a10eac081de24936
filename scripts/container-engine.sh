#!/usr/bin/env bash
# Gives `sam local` a container engine on a machine that has none:
#
#   eval "$(scripts/container-engine.sh)"
#
# If an engine answers already (DOCKER_HOST, else Docker's own socket), it
# changes and prints nothing. Otherwise, on Debian as root, it installs Podman,
# makes the functions' base image from Debian's packages, because image
# registries may be out of reach, starts Podman's Docker-compatible service,
# and prints the exports that scripts/sam-local.sh and `sam local` need. What it
# makes lies in target/ and serves again; the service ends by itself when
# no command has used it for half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "container-engine: $*" >&2
    exit 1
}
say() { echo "container-engine: $*" >&2; }

answers() {
    case $1 in
        unix://*) curl -sf --max-time 10 -o /dev/null --unix-socket "${1#unix://}" http://localhost/_ping ;;
        # It may take certificates or ssh to ask: the user who set it is believed.
        *) true ;;
    esac
}

if answers "${DOCKER_HOST:-unix:///var/run/docker.sock}"; then
    exit
fi

apart="start Docker, or run this on Debian as root"
if [ ! -r /etc/debian_version ] || ! command -v apt-get >/dev/null; then
    fail "no container engine answers, and this is not Debian: $apart"
fi
[ "$(id -u)" = 0 ] || fail "no container engine answers, and only root can install one: $apart"

# The name under which SAM looks for the runtime's image.
case $(uname -m) in
    x86_64) image=public.ecr.aws/lambda/provided:al2023-x86_64 ;;
    aarch64) image=public.ecr.aws/lambda/provided:al2023-arm64 ;;
    *) fail "Lambda has no $(uname -m)" ;;
esac
kept="$PWD/target/container-engine"
# Outside of target/: the system empties /run when it starts, as Podman needs
# it, and the path of a socket must be short.
run="/run/portfolio-$(cksum <<<"$PWD" | cut -d ' ' -f 1)"
mkdir -p "$kept" "$run"

# One at a time; the service must not hold on to the lock.
exec 9>"$kept/lock"
flock 9

# `command -v` fails if all are missing, and lists those that are there.
found=$(command -v podman runc debootstrap iptables || true)
if [ "$(wc -l <<<"$found")" -lt 4 ] || [ ! -d /usr/lib/cni ]; then
    say "installs Podman"
    export DEBIAN_FRONTEND=noninteractive
    # The lists of packages may be missing, or old.
    { apt-get update && apt-get install --yes --no-install-recommends \
        podman runc debootstrap iptables containernetworking-plugins ca-certificates; } >"$kept/apt.log" 2>&1 || {
        tail "$kept/apt.log" >&2
        fail "Podman cannot be installed"
    }
fi

# Podman's own configuration, so that the user's own is not touched.
#   runtime, cgroup_manager: work with both versions of cgroups, without systemd
#   default_ulimits: Podman's are above what a machine without the right to
#     raise limits grants; 1024 files is what Lambda grants
#   skip_mount_home: else nothing could remove target/ while Podman runs
cat >"$kept/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$run/engine"
EOF
cat >"$kept/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$kept/storage"
runroot = "$run/storage"
[storage.options.overlay]
skip_mount_home = "true"
EOF
export CONTAINERS_CONF="$kept/containers.conf" CONTAINERS_STORAGE_CONF="$kept/storage.conf"

if ! podman image exists "$image"; then
    say "makes the base image"
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "$codename" ] || fail "/etc/os-release names no VERSION_CODENAME to make an image of"
    # The mirror that apt is set to, in either of its formats.
    mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' "Codename: $codename" 'Component: main' | head -n 1)
    [ -n "$mirror" ] || fail "apt has no mirror of Debian $codename: run apt-get update"
    root="$kept/root"
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates "$codename" "$root" "$mirror" >"$kept/debootstrap.log" 2>&1 ||
        {
            tail "$kept/debootstrap.log" >&2
            fail "debootstrap failed"
        }
    mkdir -p "$root/var/task" "$root/var/runtime" "$root/opt"
    tar -C "$root" -c . | podman import --quiet --change 'WORKDIR /var/task' - "$image" >/dev/null
    rm -rf "$root"
fi

socket="unix://$run/engine.sock"
if ! answers "$socket"; then
    say "starts Podman"
    setsid podman system service --time 1800 "$socket" >"$kept/service.log" 2>&1 9>&- </dev/null &
    for _ in $(seq 100); do
        answers "$socket" && break
        sleep 0.1
    done
    answers "$socket" || {
        cat "$kept/service.log" >&2
        fail "Podman's service does not answer"
    }
fi

# Where containers find this machine; Podman 4 does not know `host-gateway`.
gateway=$(podman network inspect podman | sed -n 's/.*"gateway": *"\([0-9.]*\)".*/\1/p' | head -n 1)
[ -n "$gateway" ] || fail "Podman's network has no gateway"
echo "export DOCKER_HOST=$socket"
# The image is in no registry.
echo "export SAM_LOCAL_OPTIONS='--skip-pull-image --add-host host.docker.internal:$gateway'"
