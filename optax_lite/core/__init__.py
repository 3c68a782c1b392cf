"""What every optimizer stands on: calls kept as data, the pair `(init, update)`, rules over trees,
composition.
"""
