"""What has to be done whether or not anybody calls: one duty a module, the same loop for all."""
