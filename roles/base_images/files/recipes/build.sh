#!/usr/bin/env bash
# Builds the stand-in for one official image out of Debian packages and puts it into the engine of this host.
#
#   build.sh NAME OFFICIAL SUITE VERSION REFERENCE
#   build.sh python python:3.13-slim-trixie trixie 3.13 drydock.local/python:3.13-slim-trixie-0123456789ab
#
# MIRROR, SECURITY_MIRROR and KEYRING in the environment replace what the machine's own apt is configured with.
# NAME/recipe.sh says what is particular to an image: variant, packages, prepare, finish, configuration.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The archive that this machine's apt takes the label from ("Debian" or "Debian-Security"), any suite of it.
configured_site() {
  local site
  # shellcheck disable=SC2016 # $(SITE) is apt's.
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" | head -n 1)
  # A list of mirrors in a file is of no use inside the image, its first entry is.
  if [[ $site == mirror+file:* ]]; then
    site=$(grep -m 1 -oE '^[a-z]+://[^[:space:]]+' "${site#mirror+file:}")
  fi
  printf '%s' "${site%/}"
}

# One line for each part of the Debian archive; nothing leaves the choice to mmdebstrap (a host that is not Debian).
sources() {
  local site security
  site=${MIRROR:-$(configured_site Debian)}
  security=${SECURITY_MIRROR:-}
  [[ -n $security || -n ${MIRROR:-} ]] || security=$(configured_site Debian-Security)
  [[ -n $site ]] || return 0
  printf 'deb %s %s main\n' "$site" "$suite" "$site" "$suite-updates"
  [[ -z $security ]] || printf 'deb %s %s-security main\n' "$security" "$suite"
}

# What this machine's apt needs in order to reach its mirror: proxies, certificates, how strict dates are.
acquire_settings() {
  apt-config dump --format '%F "%v";%n' Acquire |
    grep -E '^Acquire::(Check-Valid-Until|Check-Date|ForceIPv[46]|Retries|https?::[A-Za-z].*) "[^"]+";$' |
    grep -vE '^Acquire::https?::User-Agent' || true
}

bootstrap() {
  local root=$1 line
  local -a mirrors=() options=()
  mapfile -t mirrors < <(sources)
  while IFS= read -r line; do
    options+=("--aptopt=$line")
  done < <(acquire_settings)
  # Each package's copyright file stays: it is the licence's condition for passing the package on.
  for line in doc man info locale lintian linda groff bug; do
    options+=("--dpkgopt=path-exclude=/usr/share/$line/*")
  done
  options+=("--dpkgopt=path-include=/usr/share/doc/*/copyright")
  for line in ${dpkg_options[@]+"${dpkg_options[@]}"}; do
    options+=("--dpkgopt=$line")
  done
  mmdebstrap --mode=root --format=directory --variant="$variant" --components=main \
    --keyring="${KEYRING:-$debian_keyring}" --include="$(IFS=, && printf '%s' "${packages[*]}")" \
    --dpkgopt=force-unsafe-io "${options[@]}" \
    --essential-hook="\"$here/build.sh\" hook prepare $name $suite $version \"\$1\"" \
    --customize-hook="\"$here/build.sh\" hook finish $name $suite $version \"\$1\"" \
    "$suite" "$root" "${mirrors[@]}"
}

# Takes packages out of the root file system without running their scripts; the package database stays true.
drop() {
  local root=$1 info=$1/var/lib/dpkg/info package
  local -a names
  shift
  mapfile -t names < <(dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat '${Package}\n' "$@" 2>/dev/null | sort -u)
  for package in "${names[@]}"; do
    rm -f "$info/$package".{pre,post}rm "$info/$package":*.{pre,post}rm
  done
  dpkg --root="$root" --force-all --no-triggers --log=/dev/null --purge "${names[@]}" 2>&1
}

# The version that went into the image, as upstream counts it.
package_version() {
  dpkg-query --admindir="$TMPDIR/root/var/lib/dpkg" --show --showformat '${source:Upstream-Version}' "$1"
}

# Empties what belongs to the building machine or can be made again.
tidy() {
  local root=$1
  rm -f "$root"/etc/{resolv.conf,hostname,machine-id} "$root"/var/cache/ldconfig/aux-cache \
    "$root"/var/lib/dpkg/*-old "$root"/etc/*- "$root"/etc/apt/apt.conf.d/99mmdebstrap
  find "$root/var/log" "$root/tmp" "$root/var/tmp" -mindepth 1 -delete
  find "$root/run" "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/var/cache/debconf" -type f -delete 2>/dev/null || true
  find "$root/usr" -depth -type d -name __pycache__ -exec rm -rf {} +
  # A later apt-get in a Dockerfile meets the same archive with the same clock; proxies stay with this machine.
  if [[ -x $root/usr/bin/apt-get ]]; then
    acquire_settings | grep -E '^Acquire::Check-' >"$root/etc/apt/apt.conf.d/90archive" || rm "$root/etc/apt/apt.conf.d/90archive"
  fi
}

if [[ $1 == hook ]]; then
  shift
  step=$1 name=$2 suite=$3 version=$4 root=$5
  # shellcheck source=/dev/null
  . "$here/$name/recipe.sh"
  "$step" "$root"
  exit
fi

name=$1 official=$2 suite=$3 version=$4 reference=$5
variant=essential packages=() dpkg_options=()
# shellcheck source=/dev/null
. "$here/$name/recipe.sh"

# What a killed build left behind.
find /var/tmp -maxdepth 1 \( -name 'base-images.??????' -o -name 'base-images-recipes.*' \) -mmin +1440 \
  -exec rm -rf --one-file-system {} +

# Not /tmp: it may be small, or mounted without devices.
TMPDIR=$(mktemp -d /var/tmp/base-images.XXXXXX)
export TMPDIR
trap 'rm -rf --one-file-system "$TMPDIR"' EXIT

bootstrap "$TMPDIR/root" >"$TMPDIR/log" 2>&1 || {
  tail -n 25 "$TMPDIR/log" >&2
  fail "$reference is not built: mmdebstrap failed on Debian $suite, its last lines are above." \
    "Set base_images_mirror where apt's own mirror does not carry $suite, base_images_keyring where its key is not known."
}
tidy "$TMPDIR/root"

changes=()
while IFS= read -r instruction; do
  changes+=(--change "$instruction")
done < <(
  configuration
  printf 'LABEL %s\n' "org.opencontainers.image.title=\"$name from Debian $suite, in place of $official\"" \
    "org.opencontainers.image.version=\"$version\""
)
tar --create --numeric-owner --sort=name --xattrs --xattrs-include='*' --exclude='./dev/*' -C "$TMPDIR/root" . |
  docker import "${changes[@]}" - "$reference" >"$TMPDIR/id" || {
  docker image rm "$reference" >/dev/null 2>&1 || true
  fail "$reference is not built: the engine did not take the root file system."
}
printf '%s, %s MB\n' "$reference" "$(($(docker image inspect --format '{{.Size}}' "$reference") / 1000000))"
