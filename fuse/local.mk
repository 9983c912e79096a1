# fuse/
