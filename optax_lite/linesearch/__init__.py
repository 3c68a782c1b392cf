"""Line searches, each a transformation that tries points before it moves."""
