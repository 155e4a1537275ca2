"""What tests start from: consortia, worlds, nodes, disks and browsers."""
