nc_pkgs = libvirt mnl jpeg png
