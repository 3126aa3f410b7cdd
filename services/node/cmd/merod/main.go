// Command merod is the node.
package main

func main() {}
