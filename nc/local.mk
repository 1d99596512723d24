nc_pkgs = libvirt mnl archive jpeg png
