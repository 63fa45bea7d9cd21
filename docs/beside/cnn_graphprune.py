from users import cnn, data

import graphprune

graphprune.prune(cnn(), "filter-magnitude", data, "flops=0.7", output="small.onnx")
