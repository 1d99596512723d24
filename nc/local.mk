nc_pkgs = libvirt mnl archive
