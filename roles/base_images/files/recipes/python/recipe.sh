# shellcheck shell=bash disable=SC2034,SC2154
# In place of python:<version>-slim: builder and final stage of an application, with apt for packages on top.

variant=apt
packages=("python$version" "python$version-venv" python3-gdbm ca-certificates netbase tzdata)
# Modules of the standard library that Debian ships apart, until 3.12 took them out.
[[ $version != 3.11 ]] || packages+=(python3-distutils python3-lib2to3)
# Here pip is free to install, as it is in the official image; the exclusion outlives upgrades of the package.
dpkg_options=("path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED")

prepare() { :; }

finish() {
  local root=$1 command
  for command in python python3 "python$version"; do
    ln -s "/usr/bin/python$version" "$root/usr/local/bin/$command"
  done
  # From the wheel that Debian gives to new virtual environments.
  chroot "$root" sh -c "PYTHONPATH=\$(echo /usr/share/python-wheels/pip-*.whl) python$version -m pip install \
    --quiet --no-index --no-compile --no-cache-dir --root-user-action=ignore --find-links /usr/share/python-wheels pip"
  # The headers, without the compiler that their package depends on: with gcc on top, extensions compile.
  mkdir "$root/tmp/headers"
  chroot "$root" sh -c "cd /tmp/headers && apt-get download -qq -o APT::Sandbox::User=root libpython$version-dev"
  dpkg-deb --fsys-tarfile "$root"/tmp/headers/*.deb | tar --extract --directory "$root" ./usr/include
  # On bookworm a package that merges /usr brings perl along; where /usr is merged, an empty one does as well.
  [[ $suite != bookworm ]] || chroot "$root" apt-get purge -qq --yes -o APT::Sandbox::User=root usr-is-merged+ \
    usrmerge perl 'perl-modules-*' 'libperl5*' 'libgdbm-compat*' 'lib*-perl'
}

configuration() {
  cat <<END
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
ENV LANG=C.UTF-8
ENV PYTHON_VERSION=$(package_version "python$version")
CMD ["python3"]
END
}
