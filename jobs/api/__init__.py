"""The HTTP door. Views parse, call one function of the road, and answer."""
