# shellcheck shell=bash disable=SC2034,SC2154
# In place of caddy:2, which is Alpine's: the server, its certificates, and busybox for the shell and wget.

# Bookworm's caddy makes its user without asking for passwd, which has the tools.
packages=(caddy ca-certificates busybox mailcap libcap2-bin passwd tzdata)

prepare() { :; }

finish() {
  local root=$1 package
  local -a surplus
  chroot "$root" setcap cap_net_bind_service=+ep /usr/bin/caddy
  mkdir -p "$root"/config/caddy "$root"/data/caddy "$root"/srv
  mapfile -t surplus < <(
    dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat '${Package}\n' |
      grep -vxE 'base-files|busybox|ca-certificates|caddy|gcc-[0-9]+-base|libc6|libgcc-s1|libzstd1|mailcap|media-types|tzdata'
  )
  drop "$root" "${surplus[@]}"
  chroot "$root" /usr/bin/busybox --install -s
}

configuration() {
  cat <<END
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV CADDY_VERSION=v$(package_version caddy)
ENV XDG_CONFIG_HOME=/config
ENV XDG_DATA_HOME=/data
EXPOSE 80
EXPOSE 443
EXPOSE 443/udp
EXPOSE 2019
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
END
}
