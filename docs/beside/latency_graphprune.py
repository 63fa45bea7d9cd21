from users import cnn, data

import graphprune

graphprune.prune(cnn(), "filter-magnitude", data, "latency=0.8", output="small.onnx")
