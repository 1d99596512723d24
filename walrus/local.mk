walrus_pkgs = openssl libxml
