from users import data, vit

import graphprune

passes = ["head-projection", "neuron-projection"]
graphprune.prune(vit(), passes, data, "flops=0.7", output="small.onnx")
