store_pkgs = sqlite
