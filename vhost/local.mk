# vhost/
