#!/usr/bin/env bash
# Makes the image `orrery:latest` from a binary that is compiled already, on a machine that need not reach any registry of images: what surrounds
# the binary comes from Debian's packages. Where a registry can be reached and compiling in a container is welcome, `docker build -t orrery .` does.
#   scripts/build-image.sh [PATH_TO_BINARY]     default target/release/orrery
#   scripts/build-image.sh --base               only the base image
# ORRERY_IMAGE names the image, DEBIAN_MIRROR where packages come from. The base image `orrery-base:local` is made once, which takes root rights;
# `docker rmi orrery-base:local` has it made anew, with Debian's newest packages.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
only_base=
[ "${1:-}" != --base ] || { only_base=yes; shift; }
binary="${1:-$here/target/release/orrery}"
image="${ORRERY_IMAGE:-orrery:latest}"
base=orrery-base:local
# The release that binaries are compiled on: its C library must not be older than theirs.
release=bookworm

fail() { echo "error: $*" >&2; exit 1; }

[ "$#" -le 1 ] || fail "one argument at most, the path of the binary"
[ -n "$only_base" ] || [ -f "$binary" ] || fail "there is no file '$binary'; compile it with: cargo build --release --locked --workspace"
command -v docker >/dev/null || fail "there is no 'docker' command; install Docker (Debian: apt-get install docker.io)"
if ! reason="$(docker version --format '{{.Server.Version}}' 2>&1)"; then
    fail "the Docker Engine does not answer; start it, or take the rights to use it. Docker says: $(tail -n 1 <<<"$reason")"
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

make_base() {
    [ "$(id -u)" = 0 ] || fail "making the base image '$base' takes root rights, once: sudo $0 $binary"
    if ! command -v debootstrap >/dev/null; then
        echo "installing debootstrap"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } >"$work/apt.log" 2>&1 \
            || { tail -n 20 "$work/apt.log" >&2; fail "debootstrap cannot be installed; it is a package of Debian and Ubuntu"; }
    fi
    echo "making the base image $base: Debian $release, about two minutes"
    debootstrap --variant=minbase --include=ca-certificates "$release" "$work/root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 \
        || { tail -n 20 "$work/debootstrap.log" >&2; fail "Debian $release cannot be unpacked, see above"; }
    # Tagged only when everything is in: an archive that breaks off must not pass for a base image later.
    local id
    id="$(tar -C "$work/root" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./var/cache/apt/*' \
        --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        -c . | docker import --message "Debian $release, minbase with ca-certificates" - )" || fail "the base image cannot be imported"
    docker tag "$id" "$base"
    rm -rf "$work/root"
}

if docker image inspect "$base" >/dev/null 2>&1; then
    echo "base image $base is there"
else
    make_base
fi
[ -z "$only_base" ] || exit 0

# A folder of its own is the build's context: the checkout has gigabytes of other build output, and Docker would look through all of it.
mkdir "$work/context"
install -m 755 "$binary" "$work/context/orrery"
# Line tables are most of the size. Names of functions stay, for readable backtraces.
if command -v strip >/dev/null; then
    strip --strip-debug "$work/context/orrery" || fail "'$binary' is no binary"
fi
id="$(docker build --quiet --file "$here/Dockerfile" --target prebuilt --build-arg "RUNTIME_IMAGE=$base" "$work/context" 2>"$work/build.log")" \
    || { cat "$work/build.log" >&2; fail "the image cannot be built, see above"; }
# Finds a binary of another program, another processor or a newer C library now and not in a cluster. The name comes last, so that a failure
# leaves the earlier image under it.
version="$(docker run --rm --network none "$id" --version 2>&1)" && [[ "$version" == "orrery "* ]] \
    || { docker rmi "$id" >/dev/null; fail "'$binary' is not orrery, or does not run on Debian $release; it says: $(tail -n 1 <<<"$version")"; }
earlier="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)"
docker tag "$id" "$image"
# Hundreds of megabytes that nobody would find by name again; kept while a container runs on it.
if [ -n "$earlier" ] && [ -z "$(docker image inspect --format '{{join .RepoTags " "}}' "$earlier")" ]; then
    docker rmi "$earlier" >/dev/null 2>&1 || true
fi
echo "image $image: $version, $(docker image inspect --format '{{.Size}}' "$image" | awk '{ printf "%d MB", $1 / 1e6 }')"
