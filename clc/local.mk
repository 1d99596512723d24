clc_pkgs = openssl libxml
