# shellcheck shell=bash disable=SC2034,SC2154
# In place of postgres:<major>: server, clients and contrib extensions, without perl and without the JIT compiler. It has no apt,
# so pgBackRest, which others add to it, is in it.

packages=("postgresql-$version" "postgresql-client-$version" pgbackrest locales tzdata xz-utils zstd)

if ((version >= 18)); then
  data=/var/lib/postgresql/$version/docker volume=/var/lib/postgresql
else
  data=/var/lib/postgresql/data volume=$data
fi

prepare() {
  local root=$1
  # The official ids, before Debian's package takes the next free ones.
  echo 'postgres:x:999:' >>"$root/etc/group"
  echo 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' >>"$root/etc/passwd"
  echo 'postgres:*:19000:0:99999:7:::' >>"$root/etc/shadow"
  mkdir -p "$root/etc/postgresql-common"
  echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
}

finish() {
  local root=$1
  chroot "$root" localedef -i en_US -f UTF-8 en_US.UTF-8
  sed -i "s/^#\?listen_addresses = .*/listen_addresses = '*'/" "$root/usr/share/postgresql/$version/postgresql.conf.sample"
  drop "$root" adduser debconf dpkg 'lib*-perl' 'libllvm*' libgdbm6t64 libgdbm6 'libgdbm-compat4*' 'libperl5*' libz3-4 locales \
    openssl perl perl-base 'perl-modules-*' postgresql-client-common 'postgresql-common*' sensible-utils ssl-cert ucf
  rm -rf "$root/usr/lib/postgresql/$version/lib/"{llvmjit*,bitcode} "$root/usr/share/postgresql/$version/man" \
    "$root"/etc/{postgresql,postgresql-common,perl} "$root"/etc/ssl/{private,certs}/*
  install -m 0755 "$here/postgres/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
  mkdir -p "$root/docker-entrypoint-initdb.d"
  chroot "$root" install -d -o postgres -g postgres -m 1777 "$data"
  chroot "$root" install -d -o postgres -g postgres -m 3775 /var/run/postgresql
  chown -R 999:999 "$root/var/lib/postgresql"
}

configuration() {
  cat <<END
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$version/bin
ENV LANG=en_US.utf8
ENV PG_MAJOR=$version
ENV PG_VERSION=$(package_version "postgresql-$version")
ENV PGDATA=$data
VOLUME ["$volume"]
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
END
}
