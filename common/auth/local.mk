auth_pkgs = openssl libxml
