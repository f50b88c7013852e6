"""One renderer process for each device: the devices, their processes, and the process that supervises them."""
