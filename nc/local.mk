nc_pkgs = libvirt mnl
