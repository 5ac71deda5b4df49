"""Time and network around the engine: one media clock, a worker process, WebRTC, the web page, files in and out."""
