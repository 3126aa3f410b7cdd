// Command mero-auth is the forward-authentication service.
package main

func main() {}
